-- expect: syntax-error
-- upload: repeat 900000
x
