-- expect: 200 header.x-a="\u00ff\u0080 \u00e9"
return { headers = { ["x-a"] = "\xff\x80 \xe9" } }
