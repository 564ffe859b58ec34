-- A JSON API behind tokens: who signs in gets one for an hour, and asks with it for the rest.
--   openssl rand -base64 32 | picloud secret set JWT_KEY
--   echo '{"ada": "a long password"}' | picloud secret set USERS
--   picloud settings set guarded 'secrets=["JWT_KEY", "USERS"]'
--   curl -d '{"name": "ada", "password": "a long password"}' http://127.0.0.1:8080/fn/guarded/token
--   curl -H 'Authorization: Bearer TOKEN' http://127.0.0.1:8080/fn/guarded/me
local VALID_S = 3600
local AUDIENCE = "guarded" -- another script with the same key does not take our tokens, nor we its

local function secret(name)
  return secrets.get(name) or error("there is no secret " .. name .. ": picloud secret set " .. name)
end

local function refuse(reason)
  error{ status = 401, headers = { ["www-authenticate"] = "Bearer" }, body = { problem = reason } }
end

-- Hashes have one length, and `crypto.equal` one time for each: neither tells how much of a guess is right.
local function is_password(guess, password)
  return type(guess) == "string" and crypto.equal(crypto.sha256(guess), crypto.sha256(password))
end

local function sign_in(request)
  local asked = request:json()
  if type(asked) ~= "table" or type(asked.name) ~= "string" then
    error{ status = 422, body = { problem = "send name and password" } }
  end
  local password = json.decode(secret("USERS"))[asked.name]
  if not is_password(asked.password, password or crypto.random_bytes(32)) then
    log.warn("refused", { name = asked.name, from = request.remote_addr })
    refuse("name or password is wrong")
  end
  local now = time.unix()
  local claims = { sub = asked.name, aud = AUDIENCE, iat = now, exp = now + VALID_S, jti = crypto.uuid7() }
  return { token = crypto.jwt_sign(claims, secret("JWT_KEY")), expires_in = VALID_S }
end

-- The claims of the token that came along. It was signed here: what it says is what we said.
local function signed_in(request)
  local token = (request.headers.authorization or ""):match("^Bearer (%S+)$")
  local claims, reason = crypto.jwt_verify(token, secret("JWT_KEY"), { aud = AUDIENCE, leeway = 5 })
  if not claims then
    refuse(reason)
  end
  return claims
end

local function me(request)
  local claims = signed_in(request)
  return { name = claims.sub, expires = time.format(claims.exp) }
end

local actions = { token = { POST = sign_in }, me = { GET = me } }

return function(request)
  local methods = actions[request.params.rest] or error{ status = 404, body = { problem = "there is /token and /me" } }
  local action = methods[request.method] or error{ status = 405, headers = { allow = next(methods) } }
  return action(request)
end
