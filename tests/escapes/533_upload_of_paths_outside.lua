-- expect: invalid-request
-- files: "../../etc/cron.d/x"="* * * * * root id"
return "never"
