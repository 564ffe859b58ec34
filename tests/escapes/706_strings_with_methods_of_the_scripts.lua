-- expect: 200 body="{\"a\":\"b\"}"
function string.sub() error("poisoned") end
function string:byte() while true do end end
string.__tostring, string.__concat, string.__eq = error, error, error
return { a = "b" }
