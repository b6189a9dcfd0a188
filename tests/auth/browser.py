"""A browser for a script: follows pages and fills in their forms until it comes to the callback.

`python browser.py RECORD URL` stands for a person's browser, by BROWSER. Each address that it goes
to is added to the file RECORD. With `--stop` in front it does not go to the callback, but prints
its address, as a person reads it from a browser on another machine; with `--deny` it cancels.
"""

import sys
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode, urljoin
from urllib.request import HTTPCookieProcessor, HTTPRedirectHandler, build_opener

MOST_PAGES = 20


class Form(HTMLParser):
    """The first form of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form" and self.action is None:
            self.action = given.get("action") or ""
        elif tag == "input" and (name := given.get("name")):
            self.fields[name] = given.get("value") or "someone"


class Stay(HTTPRedirectHandler):
    """Follows no redirect by itself: each address is checked first."""

    def redirect_request(self, *_: object) -> None:
        return None


def browse(url: str, record: Path, *, stop: bool = False, deny: bool = False) -> str:
    """Go from page to page; return the last address, which is the callback's."""
    opener = build_opener(HTTPCookieProcessor(CookieJar()), Stay)
    data: bytes | None = None
    for _ in range(MOST_PAGES):
        with record.open("a") as file:
            file.write(f"{url}\n")
        if "/callback?" in url and stop:
            return url
        if deny and "/interaction/" in url and not url.endswith("/abort"):
            url += "/abort"  # where oidc-provider's button to cancel leads
        try:
            with opener.open(url, data) as answer:
                page, location = answer.read().decode(), None
        except HTTPError as error:
            page, location = error.read().decode(), error.headers["Location"]
            if location is None and "/callback?" not in url:
                raise SystemExit(f"{error.code}: {page}") from None
        if "/callback?" in url:
            return url
        form = Form(page)
        if location is not None:
            url, data = urljoin(url, location), None
        elif form.action is not None:
            url, data = urljoin(url, form.action), urlencode(form.fields).encode()
        else:
            raise SystemExit(f"no way on from {url}: {page}")
    raise SystemExit("too many pages")


if __name__ == "__main__":
    *options, recorded, first = sys.argv[1:]
    last = browse(first, Path(recorded), stop="--stop" in options, deny="--deny" in options)
    if "--stop" in options:
        print(last)
