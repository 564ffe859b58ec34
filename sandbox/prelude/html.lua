-- Owns: text made safe inside HTML, in content and in quoted attributes alike.
local fault = (...).fault
local gsub = string.gsub

local ENTITIES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }
local public = {}

-- html.escape(text) → text
function public.escape(text)
  return (gsub(fault.text_argument(text, "html.escape"), "[&<>\"']", ENTITIES))
end

return { public = public }
