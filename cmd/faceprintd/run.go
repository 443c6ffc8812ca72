package main

import (
	"context"
	"log/slog"
)

func run(ctx context.Context, c Config, log *slog.Logger) error { return nil }
