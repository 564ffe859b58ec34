-- expect: body-too-large
-- limits: request_bytes=1000
-- request: method="POST" body_bytes=1001
return "never"
