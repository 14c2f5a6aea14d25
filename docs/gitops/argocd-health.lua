-- The health of Keyturn's objects for Argo CD, which has none for kinds that it does not know.
-- It says what kubectl, Flux and everything else that builds on kstatus say, and Suspended besides.
-- That an object is being deleted, Argo CD finds by itself.

local status = obj.status or {}
local generation = obj.metadata.generation
if status.conditions == nil or (generation ~= nil and status.observedGeneration ~= generation) then
  return {status = "Progressing", message = "Keyturn has not looked at this generation yet"}
end

local found = {}
for _, condition in ipairs(status.conditions) do
  found[condition.type] = condition
end

local function holds(kind)
  return found[kind] ~= nil and found[kind].status == "True"
end

if holds("Suspended") then
  return {status = "Suspended", message = found.Suspended.message}
end
if holds("Reconciling") then
  return {status = "Progressing", message = found.Reconciling.message}
end
if holds("Stalled") then
  return {status = "Degraded", message = found.Stalled.message}
end
if holds("Ready") then
  return {status = "Healthy", message = found.Ready.message}
end
return {status = "Progressing", message = found.Ready and found.Ready.message or "Keyturn says nothing yet"}
