-- The replay server is the program's own, so that users have it; specs know it by this name.
return require "perilune.testing.replay"
