-- expect: 200
-- again: different
return crypto.hex(crypto.random_bytes(16))
