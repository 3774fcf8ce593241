-- A question about an image: a path, an address or bytes. What it is and how large it may be is checked before anything is
-- sent. Without an argument an image is drawn first, and the offline model answers, which has no eyes.
local perilune = require "perilune"

local client = perilune.client()
local picture = arg[1] or client:image({ prompt = "A crater at sunrise" }):save("crater.png")

local answer = client:chat("What is in this picture?", { images = picture })
print(answer.content)

local _, err = perilune.try(client.chat, client, "And in this one?", { images = "no-such-file.png" })
print(err)
