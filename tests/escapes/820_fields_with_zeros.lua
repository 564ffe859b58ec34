-- expect: 200 body="ok" log="zeros \ufffd here"
-- A database takes no zero in its JSON: the line is kept all the same.
log.info("zeros \0 here", { a = "b\0c", ["k\0"] = 1 })
return "ok"
