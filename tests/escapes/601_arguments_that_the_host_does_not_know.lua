-- expect: 200 body="contained"
-- Each public function with each kind of value in each place: an answer, or a string that says why not; nothing else,
-- no position of ours in it, no path of the server, no Python.
local COUNT = 18
local function fail() error("by its own metamethod") end
local function value(i) -- a fresh one: some functions change what they are given
  if i == 1 then return {}
  elseif i == 2 then return { {}, "x" }
  elseif i == 3 then return coroutine.create(print)
  elseif i == 4 then return setmetatable({}, { __index = fail, __tostring = fail, __len = fail, __pairs = fail })
  end
  return ({ print, true, false, 0, -1, 1.5, 0 / 0, 1 / 0, math.maxinteger, math.mininteger, "", "x", "\0\255", ("y"):rep(1000) })[i - 4]
end
local skipped = {} -- what takes functions, or what ends in errors that are the caller's own
for _, f in ipairs{
  coroutine.yield, coroutine.wrap, coroutine.resume, error, assert, pcall, xpcall, table.move, table.concat, table.unpack,
  string.rep, table.sort, table.insert, load,
} do skipped[f] = true end
local tried, worst = 0, nil
local function judge(path, done, ...)
  tried = tried + 1
  for i = 1, select("#", ...) do
    if type((select(i, ...))) == "userdata" then worst = path .. ": userdata" end
  end
  local reason = ...
  if done then return end
  if type(reason) ~= "string" then
    worst = path .. ": an error that is a " .. type(reason)
  elseif reason:find("prelude/", 1, true) or reason:find("%.py") or reason:find("could not do this", 1, true) then
    worst = path .. ": " .. reason
  end
end
local function try(path, f)
  judge(path, pcall(f))
  for i = 1, COUNT do
    judge(path, pcall(f, value(i)))
    for j = 1, COUNT do judge(path, pcall(f, value(i), value(j))) end
    judge(path, pcall(f, "x", "y", value(i)))
    judge(path, pcall(f, {}, value(i), value(i), value(i)))
  end
end
local walked = {}
local function walk(place, path)
  walked[place] = true
  for name, found in next, place do
    local full = path .. "." .. tostring(name)
    if type(found) == "table" and not walked[found] then walk(found, full)
    elseif type(found) == "function" and not skipped[found] and not walked[found] then
      walked[found] = true
      try(full, found)
    end
  end
end
local libraries = {}
for name, library in next, _G do libraries[name] = library end
libraries._G, libraries.request = nil, nil
walk(libraries, "")
return tried > 10000 and not worst and "contained" or tostring(worst) .. " " .. tried
