-- expect: 200 body="contained"
-- files: "data.bin"="\u001bLuaT\u0000\u0019" "data/init.luac"="\u001bLua"
assert(not load(files.read("data.bin")) and not load(files.read("data/init.luac"), "=x", "b"))
assert(not pcall(require, "data.bin") and not pcall(require, "data") and not pcall(require, "data.init"))
return "contained"
