-- expect: syntax-error
-- upload: hex
00000000
