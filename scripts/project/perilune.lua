-- The configuration of this project, read by every command that is run in this folder. Keys do not belong here: set them in the
-- environment, or in a file .env (OPENAI_API_KEY=…). `perilune doctor` says what is found.
return {
  db = "project.db", -- threads, runs, usage
  -- model = "openai/gpt-4o-mini", -- else the first provider that has a key is asked, else the built-in offline model
}
