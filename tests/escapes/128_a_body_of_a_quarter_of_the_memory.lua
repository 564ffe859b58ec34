-- expect: 200 body="500000"
-- limits: memory_bytes=2000000
-- request: method="POST" body_bytes=500000
return function(request) return tostring(#request.body) end
