-- expect: invalid-request
-- files: "/etc/passwd"="root"
return "never"
