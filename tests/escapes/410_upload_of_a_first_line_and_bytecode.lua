-- expect: syntax-error
-- upload: hex
23210a1b4c756154
