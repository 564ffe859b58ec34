-- expect: 200 body="true"
-- To PostgreSQL a literal of that number has two parts: a minus, and a number that is out of range.
kv.set("n", math.mininteger) kv.set("n", math.mininteger)
return tostring(kv.get("n") == math.mininteger)
