-- expect: syntax-error detail~"overflow"
-- upload: repeat 100000
a={
