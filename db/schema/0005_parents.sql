-- The runs that a run has called as tools: their threads go with its own.
CREATE INDEX runs_by_parent ON runs (parent) WHERE parent IS NOT NULL;
