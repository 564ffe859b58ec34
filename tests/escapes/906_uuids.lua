-- expect: 200
-- again: different
return crypto.uuid4()
