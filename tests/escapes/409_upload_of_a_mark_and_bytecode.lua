-- expect: syntax-error
-- upload: hex
efbbbf1b4c756154
