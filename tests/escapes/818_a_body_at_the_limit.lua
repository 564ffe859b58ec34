-- expect: 200 body="1000"
-- limits: request_bytes=1000
-- request: method="POST" body_bytes=1000
return function(request) return tostring(#request.body) end
