"""User input: the policy file and the options, read strictly, and the paths of files.

Every error names its file, line and column, and the right form. Does not know the effect of a
setting. Begin with `policy_file`, then `effective_policy`, then `options`.

`tree` is any file of settings with the positions of its values; `json_text`, `toml_text` and
`yaml_text` read and edit one format each, and `container` a list or map of entries in it.
"""
