-- expect: 200 header.x-a="b" header.x-empty=""
return { headers = { ["x-a"] = " \t b \t ", ["x-empty"] = "", ["x-list"] = {} } }
