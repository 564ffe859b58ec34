-- Owns: the files of the version that runs: compiling them, `require`, `files`.
local fault, environment = (...).fault, (...).environment

local byte, find, gsub, match, sub = string.byte, string.find, string.gsub, string.match, string.sub
local concat = table.concat
local error, load, select, setmetatable, tonumber = error, load, select, setmetatable, tonumber
local raise, text_argument = fault.raise, fault.text_argument
local env = environment.env
local OUT_OF_MEMORY = (...).host.OUT_OF_MEMORY

local SHOWN_BYTES = 59 -- of a chunk's name in Lua's messages (LUA_IDSIZE)
local MESSAGE_BYTES_MAX = 1000 -- Lua quotes a whole token, and a token can be a megabyte
local ESCAPE = 27 -- how bytecode begins

local texts = {} -- path → text

-- path, text, … : the files of this run.
local function set_files(...)
  local fields = { ... }
  for at = 1, select("#", ...), 2 do
    texts[fields[at]] = fields[at + 1]
  end
end

-- A function; or nil, the line and what is wrong there.
local function compile(path, text)
  if byte(text, 1) == ESCAPE then
    return nil, 1, "this is bytecode; upload the source text"
  end
  local chunk, reason = load(text, "=" .. path, "t", env)
  if chunk then
    return chunk
  elseif reason == OUT_OF_MEMORY then
    error(reason, 0)
  end
  local after = #sub(path, 1, SHOWN_BYTES) + 1
  local line, message = match(reason, "^:(%d+): (.*)$", after)
  return nil, tonumber(line) or 1, sub(message or reason, 1, MESSAGE_BYTES_MAX)
end

-- path, text, … : the first Lua file that does not compile, as path, line, message; nothing runs.
local function check(...)
  local fields = { ... }
  for at = 1, select("#", ...), 2 do
    local path = fields[at]
    if find(path, "%.lua$") then
      local chunk, line, message = compile(path, fields[at + 1])
      if not chunk then
        return path, line, message
      end
    end
  end
end

local loaded = {} -- module name → value
local loading, depth = {}, 0 -- the chain of modules being loaded: name → true, and in order

local function forget()
  loading[loading[depth]] = nil
  loading[depth] = nil
  depth = depth - 1
end
local FORGET = { __close = forget }

local function load_module(name, path)
  local chunk, line, message = compile(path, texts[path])
  if not chunk then
    raise(path .. ":" .. line .. ": " .. message)
  end
  depth = depth + 1
  loading[depth], loading[name] = name, true
  local _ <close> = setmetatable({}, FORGET) -- also when the module raises, with its traceback whole
  local value = chunk(name, path)
  if value == nil then
    return true
  end
  return value
end

-- require "a.b" → what a/b.lua returned, run once
function env.require(name)
  name = text_argument(name, "require")
  local value = loaded[name]
  if value ~= nil then
    return value
  end
  if loading[name] then
    raise("module '" .. name .. "' requires itself: " .. concat(loading, " → ") .. " → " .. name)
  end
  local path = gsub(name, "%.", "/") .. ".lua"
  if not texts[path] then
    raise("module '" .. sub(name, 1, 200) .. "' not found: this version has no file " .. sub(path, 1, 200))
  end
  value = load_module(name, path)
  loaded[name] = value
  return value
end

env.files = {}

-- files.read("page.html") → the text of a file of the bundle
function env.files.read(path)
  path = text_argument(path, "files.read")
  return texts[path] or raise("this version has no file " .. sub(path, 1, 200))
end

local function has(path)
  return texts[path] ~= nil
end

-- main.lua compiled; or nil, line, message
local function entry()
  if not texts["main.lua"] then
    return nil, 0, "this version has no file main.lua"
  end
  return compile("main.lua", texts["main.lua"])
end

return { check = check, compile = compile, entry = entry, has = has, set_files = set_files }
