"""Where documents come from: each source yields SourceFile values and knows what has gone."""
