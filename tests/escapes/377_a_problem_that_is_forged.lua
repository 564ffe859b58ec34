-- expect: 500 header.content-type="application/problem+json; charset=utf-8"
-- A caller can tell: only what ran to its end has this body, and the record says ok.
return {
  status = 500,
  headers = { ["content-type"] = "application/problem+json; charset=utf-8" },
  body = '{"type":"/problems/sandbox-crash","title":"x","status":500,"detail":"x"}',
}
