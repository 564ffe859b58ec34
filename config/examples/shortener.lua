-- A URL shortener: POST an address and get a short one; whoever opens the short one is sent there, and counted.
-- curl -d 'https://example.org/a/long/way' http://127.0.0.1:8080/fn/shortener       `…/fn/shortener/CODE/hits` counts
-- With the variable KEY, only who sends it as X-Key may add: picloud env set shortener KEY=…
local BYTES_MAX = 2000
local CODE_BYTES = 5 -- random ones: 7 letters

local function refuse(status, problem)
  error{ status = status, body = problem .. "\n" }
end

local function check_key(request)
  if env.KEY and not crypto.equal(request.headers["x-key"] or "", env.KEY) then
    refuse(401, "send the key as X-Key")
  end
end

-- The address in the body: of the web, and nothing that could break a header.
local function address_of(request)
  local address = request.body:match("^%s*(.-)%s*$")
  if #address > BYTES_MAX or not address:match("^https?://[^%s%c/?#]+[^%s%c]*$") then
    refuse(422, "send one http or https address of at most " .. BYTES_MAX .. " bytes")
  end
  return address
end

-- `if_version = 0`: only if nobody has this code. Two that draw the same one at once cannot both get it.
local function keep(address)
  local code
  repeat
    code = base64.url_encode(crypto.random_bytes(CODE_BYTES))
  until kv.set("address/" .. code, address, { if_version = 0 })
  return code
end

local function shorten(request)
  check_key(request)
  local short = "/fn/shortener/" .. keep(address_of(request))
  return { status = 201, headers = { location = short }, body = short .. "\n" }
end

-- The count is a key of its own: `kv.incr` waits for others, where writing back what was read would run again.
local function follow(code)
  local address = kv.get("address/" .. code) or refuse(404, "there is no such address")
  kv.incr("hits/" .. code)
  return { status = 302, headers = { location = address, ["cache-control"] = "no-store" }, body = "" }
end

local function hits(code)
  return { code = code, hits = kv.get("hits/" .. code) or 0 }
end

return function(request)
  local rest = request.params.rest or ""
  if request.method == "POST" and rest == "" then
    return shorten(request)
  elseif request.method ~= "GET" and request.method ~= "HEAD" then
    error{ status = 405, headers = { allow = "GET, HEAD, POST" }, body = "POST an address, or open a short one\n" }
  end
  local counted = rest:match("^([^/]+)/hits$")
  return counted and hits(counted) or follow(rest)
end
