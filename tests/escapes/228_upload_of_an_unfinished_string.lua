-- expect: syntax-error detail~"unfinished"
-- upload: repeat 100000
[=[
