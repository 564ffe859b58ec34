-- expect: memory-limit
-- A script may say these words of itself: they are about nobody else.
error("not enough memory", 0)
