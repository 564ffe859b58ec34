-- A receiver of GitHub's webhooks that checks them by hand, and answers them itself. The folder `pushes` has PiCloud do it.
-- It believes those alone that are signed with the secret that you gave GitHub:
--   picloud secret set WEBHOOK_SECRET
--   picloud settings set webhook 'secrets=["WEBHOOK_SECRET"]'
-- In the repository: Settings → Webhooks → Add: your URL, content type application/json, the same secret.

-- GitHub signs the body as it was sent, byte for byte: check before parsing, never after.
local function is_signed(request, secret)
  local expected = "sha256=" .. crypto.hmac_sha256(secret, request.body)
  local given = request.headers["x-hub-signature-256"] or ""
  return crypto.equal(given, expected) -- `==` would tell by its time how much of a guess is right
end

-- What is done about each event; those that are not here are welcome, and ignored.
local events = {}

function events.ping(payload)
  return { answer = "pong", zen = payload.zen }
end

function events.push(payload)
  local branch = tostring(payload.ref):match("^refs/heads/(.+)$")
  log.info("push", { repository = payload.repository.full_name, branch = branch, commits = #payload.commits })
  return { branch = branch, commits = #payload.commits }
end

return function(request)
  if request.method ~= "POST" then
    error{ status = 405, headers = { allow = "POST" }, body = "send a webhook with POST\n" }
  end
  local secret = secrets.get("WEBHOOK_SECRET") or error("WEBHOOK_SECRET is not set: picloud secret set WEBHOOK_SECRET")
  if not is_signed(request, secret) then
    log.warn("wrong signature", { from = request.remote_addr })
    error{ status = 401, body = "the signature is wrong or missing\n" }
  end
  local name = request.headers["x-github-event"] or ""
  local handle = events[name]
  if not handle then
    log.info("ignored", { event = name })
    return nil -- 204
  end
  return handle(request:json())
end
