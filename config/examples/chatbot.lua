-- A chat bot behind a Slack slash command, which remembers things for a team:
--   /pi remember wifi is on the fridge        /pi wifi        /pi forget wifi        /pi list
-- In Slack: Your apps → Slash commands → Request URL: where this script answers. Then give it the app's signing secret:
--   picloud secret set SLACK_SIGNING_SECRET
--   picloud settings set chatbot 'secrets=["SLACK_SIGNING_SECRET"]'
local TOLERANCE_S = 300 -- older requests may have been recorded by somebody, and be sent again
local LISTED = 50

-- Slack signs "v0:TIME:BODY", byte for byte as it was sent.
local function is_signed(request, secret)
  local sent_at = request.headers["x-slack-request-timestamp"] or ""
  local age_s = time.unix() - (math.tointeger(tonumber(sent_at)) or 0)
  local expected = "v0=" .. crypto.hmac_sha256(secret, "v0:" .. sent_at .. ":" .. request.body)
  local given = request.headers["x-slack-signature"] or ""
  return crypto.equal(given, expected) and math.abs(age_s) <= TOLERANCE_S
end

local function key_of(team, thing)
  return "team/" .. team .. "/" .. thing:lower()
end

local function say(text)
  return { response_type = "in_channel", text = text }
end

local commands = {}

function commands.remember(team, words)
  local thing, text = words:match("^(%S+)%s+(.+)$")
  if not thing then
    return say("Tell me what: `remember wifi is on the fridge`")
  end
  kv.set(key_of(team, thing), text)
  return say("I will remember " .. thing)
end

function commands.forget(team, thing)
  return say(kv.delete(key_of(team, thing)) and "Forgotten" or "I did not know that")
end

function commands.list(team)
  local prefix, things = key_of(team, ""), {}
  for at, entry in ipairs(kv.list{ prefix = prefix, limit = LISTED }) do
    things[at] = entry.key:sub(#prefix + 1)
  end
  return say(#things > 0 and "I know " .. table.concat(things, ", ") or "I know nothing yet")
end

local function recall(team, thing)
  local text = kv.get(key_of(team, thing))
  return say(text and thing .. " " .. text or "I do not know " .. thing)
end

return function(request)
  local secret = secrets.get("SLACK_SIGNING_SECRET") or error("SLACK_SIGNING_SECRET is not set: picloud secret set …")
  if not is_signed(request, secret) then
    error{ status = 401, body = "the signature is wrong, missing or too old\n" }
  end
  local fields = request:form()
  local team, text = fields.team_id or "", fields.text or ""
  local name, rest = text:match("^%s*(%S*)%s*(.-)%s*$")
  if #name > 100 or #team > 100 then
    return say("That is a long word for me")
  elseif commands[name] then
    return commands[name](team, rest)
  end
  return name ~= "" and recall(team, name) or commands.list(team)
end
