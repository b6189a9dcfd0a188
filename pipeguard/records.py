"""Named tuples that are made in a fifth of the time.

`typing.NamedTuple` compiles the annotation of each field, which nothing reads at run time, and
`collections.namedtuple` a constructor for each class. A start makes a hundred named tuples.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as typing.TYPE_CHECKING: no server waits for that module
if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
else:
    from _collections import _tuplegetter as getter  # as `collections.namedtuple` has it
    from functools import cache
    from types import FunctionType

    _new = tuple.__new__

    def _as_dict(self):
        return dict(zip(self._fields, self, strict=True))

    def _replace(self, **changes):
        replaced = _new(type(self), map(changes.pop, self._fields, self))
        if changes:
            raise ValueError(f"no such fields: {[*changes]}")
        return replaced

    def _describe(self):
        fields = ", ".join(f"{name}={value!r}" for name, value in self._asdict().items())
        return f"{type(self).__name__}({fields})"

    _METHODS = {
        "__slots__": (),
        "__repr__": _describe,
        "__getnewargs__": lambda self: (*self,),  # for `copy` and `pickle`
        "_replace": _replace,
        "_asdict": _as_dict,
    }

    @cache
    def _constructor(count):
        """A constructor of so many fields, whose names are given to a copy of it."""
        names = "".join(f"_{number}, " for number in range(count))
        return eval(f"lambda _cls, {names}: _new(_cls, ({names}))", {"_new": _new})  # noqa: S307  numbers

    class _Maker(type):
        def __new__(cls, name, bases, body):
            fields = (*body.get("__annotations__", {}),)
            defaults = {field: body.pop(field) for field in fields if field in body}
            made = _constructor(len(fields))
            names = {"co_varnames": ("_cls", *fields), "co_qualname": f"{name}.__new__"}
            code = made.__code__.replace(**names)
            new = FunctionType(code, made.__globals__, "__new__", (*defaults.values(),))
            body |= {field: getter(at, None) for at, field in enumerate(fields)}
            own = {"__new__": new, "__match_args__": fields, "_fields": fields}
            return type(name, (tuple,), _METHODS | body | own | {"_field_defaults": defaults})

    NamedTuple = type.__new__(_Maker, "NamedTuple", (), {})
