-- expect: 200 header.server="picloud" header.server-timing~"total;dur="
-- request: target=""
return { headers = { server = "evil", date = "never", ["picloud-invocation"] = "forged", ["server-timing"] = "run;dur=0" } }
