package api

import (
	"context"
	"net/http"

	"github.com/faceprint/faceprint/device/api/client"
)

// PhoneBackend is the part of a Backend that keeps the paired phones.
type PhoneBackend interface {
	Phones(context.Context) (client.Phones, error)
	// InvitePhone makes a code; by is the role of who asked, asker names them.
	InvitePhone(ctx context.Context, i client.Invite, by Role, asker string) (client.Invited, error)
	// In what follows, by names who asked, for the audit.
	// WithdrawPhone ends a code before its time; one that is over is no matter.
	WithdrawPhone(ctx context.Context, id string) error
	RenamePhone(ctx context.Context, id, name, by string) (client.Phone, error)
	// SetPhoneTerms replaces what a phone may do, when, and for how long.
	SetPhoneTerms(ctx context.Context, id string, t client.PhoneTerms, by string) (client.Phone, error)
	RevokePhone(ctx context.Context, id, by string) (client.Phone, error)
	// PhoneClock tells how late it is, for phones whose time is limited.
	PhoneClock(context.Context) (client.PhoneClock, error)
	// AcceptPhoneClock takes the device's clock for right, though it has been later.
	AcceptPhoneClock(ctx context.Context, by string) (client.PhoneClock, error)
}

type (
	ofPhone struct {
		ID string `path:"id" maxLength:"64" doc:"Of a phone, or of a code."`
	}
	// The id is written out: huma fills nothing in of an embedded struct whose
	// name is not exported.
	ofRename struct {
		ID   string `path:"id" maxLength:"64" doc:"Of a phone."`
		Body client.Rename
	}
	ofTerms struct {
		ID   string `path:"id" maxLength:"64" doc:"Of a phone."`
		Body client.PhoneTerms
	}
)

func (s *Server) phoneRoutes() {
	route(s, RoleAdmin, "phones", http.MethodGet, "/v1/phones", "The paired phones", func(ctx context.Context, _ *none) (*answer[client.Phones], error) {
		return reply(s.back.Phones(ctx))
	})
	route(s, RoleKiosk, "invite-phone", http.MethodPost, "/v1/phones", "Make a code with which one phone can be paired", func(ctx context.Context, in *question[client.Invite]) (*answer[client.Invited], error) {
		return reply(s.back.InvitePhone(ctx, in.Body, roleOf(ctx), callerOf(ctx)))
	})
	route(s, RoleKiosk, "withdraw-phone", http.MethodDelete, "/v1/phones/codes/{id}", "End a code before its time", func(ctx context.Context, in *ofPhone) (*answer[struct{}], error) {
		return reply(struct{}{}, s.back.WithdrawPhone(ctx, in.ID))
	})
	route(s, RoleAdmin, "rename-phone", http.MethodPatch, "/v1/phones/{id}", "Give a phone another name", func(ctx context.Context, in *ofRename) (*answer[client.Phone], error) {
		return reply(s.back.RenamePhone(ctx, in.ID, in.Body.Name, callerOf(ctx)))
	})
	route(s, RoleAdmin, "set-phone-terms", http.MethodPut, "/v1/phones/{id}/terms", "Replace what a phone may do, when, and for how long; its open connections are cut", func(ctx context.Context, in *ofTerms) (*answer[client.Phone], error) {
		return reply(s.back.SetPhoneTerms(ctx, in.ID, in.Body, callerOf(ctx)))
	})
	route(s, RoleAdmin, "phone-clock", http.MethodGet, "/v1/phones/clock", "How late it is, by the device's clock and by what it was", func(ctx context.Context, _ *none) (*answer[client.PhoneClock], error) {
		return reply(s.back.PhoneClock(ctx))
	})
	route(s, RoleAdmin, "accept-phone-clock", http.MethodPost, "/v1/phones/clock", "Take the device's clock for right, though it has been later", func(ctx context.Context, _ *none) (*answer[client.PhoneClock], error) {
		return reply(s.back.AcceptPhoneClock(ctx, callerOf(ctx)))
	})
	route(s, RoleAdmin, "revoke-phone", http.MethodDelete, "/v1/phones/{id}", "End a pairing at once", func(ctx context.Context, in *ofPhone) (*answer[client.Phone], error) {
		return reply(s.back.RevokePhone(ctx, in.ID, callerOf(ctx)))
	})
}
