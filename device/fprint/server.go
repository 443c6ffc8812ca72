package fprint

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/introspect"
	"github.com/godbus/dbus/v5/prop"

	"github.com/faceprint/faceprint/device"
)

// Reader tells what the fingerprint module is: its name and how many captures
// an enrolment takes; there is false while it is missing.
type Reader func() (name string, captures int, there bool)

// Server is the device on the bus.
type Server struct {
	device *device.Device
	reader Reader
	log    *slog.Logger
	conn   *dbus.Conn
	props  *prop.Properties

	ctx     context.Context // ends with the server
	stop    context.CancelFunc
	running sync.WaitGroup

	mu    sync.Mutex
	claim *claim          // nil while nobody has the device
	uses  map[string]*use // of accounts that have it, or had it less than freshClaim ago
	awake chan struct{}   // closed unless the machine is suspended
}

// Open connects to the system bus and takes the name; Close gives it back.
func Open(ctx context.Context, d *device.Device, reader Reader, log *slog.Logger) (*Server, error) {
	s := &Server{device: d, reader: reader, log: log, uses: make(map[string]*use), awake: make(chan struct{})}
	close(s.awake)
	s.ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	if err := s.open(); err != nil {
		s.stop()
		return nil, fmt.Errorf("fprint: %w", err)
	}
	return s, nil
}

func (s *Server) open() (err error) {
	if s.conn, err = dbus.ConnectSystemBus(dbus.WithIncomingInterceptor(ownReply)); err != nil {
		return fmt.Errorf("system bus: %w", err)
	}
	defer func() {
		if err != nil {
			s.conn.Close()
		}
	}()
	if err := s.export(); err != nil {
		return err
	}
	signals := make(chan *dbus.Signal, 64)
	s.conn.Signal(signals)
	if err := s.conn.AddMatchSignal(dbus.WithMatchSender("org.freedesktop.DBus"), dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(2, "")); err != nil {
		return err
	}
	if err := s.conn.AddMatchSignal(dbus.WithMatchInterface("org.freedesktop.login1.Manager"), dbus.WithMatchMember("PrepareForSleep")); err != nil {
		return err
	}
	reply, err := s.conn.RequestName(busName, dbus.NameFlagDoNotQueue)
	if err != nil {
		return fmt.Errorf("%s: %w", busName, err)
	}
	if reply != dbus.RequestNameReplyPrimaryOwner {
		return ErrOwned
	}
	s.running.Go(func() { s.listen(signals) })
	return nil
}

// Err tells whether the bus is gone.
func (s *Server) Err() error {
	if !s.conn.Connected() {
		return fmt.Errorf("fprint: the bus is gone: %w", dbus.ErrClosed)
	}
	return nil
}

// Close ends what is under way and leaves the bus.
func (s *Server) Close() error {
	s.drop(nil)
	s.stop()
	err := s.conn.Close()
	s.running.Wait()
	if err != nil {
		return fmt.Errorf("fprint: %w", err)
	}
	return nil
}

// listen follows the bus until it ends: clients that leave, and the machine's
// sleep. Who says so is looked at: any client may send us signals of these names.
func (s *Server) listen(signals <-chan *dbus.Signal) {
	for {
		select {
		case sig, ok := <-signals:
			if !ok {
				s.drop(nil)
				return
			}
			switch sig.Name {
			case "org.freedesktop.DBus.NameOwnerChanged":
				var name, old, now string
				if sig.Sender == "org.freedesktop.DBus" && dbus.Store(sig.Body, &name, &old, &now) == nil && now == "" {
					s.drop(func(c *claim) bool { return c.client == name })
				}
			case "org.freedesktop.login1.Manager.PrepareForSleep":
				var asleep bool
				if s.fromLogind(sig) && dbus.Store(sig.Body, &asleep) == nil {
					s.sleep(asleep)
				}
			}
		case <-s.ctx.Done():
			return
		}
	}
}

// fromLogind tells whether a signal is logind's: any client may send one of
// that name to us alone.
func (s *Server) fromLogind(sig *dbus.Signal) bool {
	ctx, cancel := context.WithTimeout(s.ctx, busTimeout)
	defer cancel()
	var owner string
	err := s.conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetNameOwner", 0, "org.freedesktop.login1").Store(&owner)
	return err == nil && owner == sig.Sender
}

// sleep suspends what is under way or lets it go on. Claims whose client did
// not survive the sleep are dropped by their leaving the bus, before or after.
func (s *Server) sleep(asleep bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.awake:
		if asleep {
			s.awake = make(chan struct{})
			if s.claim != nil && s.claim.job != nil {
				s.claim.job.suspend()
			}
		}
	default:
		if !asleep {
			close(s.awake)
		}
	}
}

// waking is closed while the machine is awake.
func (s *Server) waking() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.awake
}

// export puts the two objects on the bus.
func (s *Server) export() error {
	read := func(v any) *prop.Prop { return &prop.Prop{Value: v, Emit: prop.EmitTrue} }
	name, captures, _ := s.reader()
	var err error
	s.props, err = prop.Export(s.conn, devicePath, prop.Map{deviceFace: {
		"name": read(label(name)), "num-enroll-stages": read(int32(captures)), "scan-type": read("press"),
		"finger-present": read(false), "finger-needed": read(false),
	}})
	if err != nil {
		return err
	}
	in := func(name, kind string) introspect.Arg {
		return introspect.Arg{Name: name, Type: kind, Direction: "in"}
	}
	out := func(name, kind string) introspect.Arg {
		return introspect.Arg{Name: name, Type: kind, Direction: "out"}
	}
	method := func(name string, args ...introspect.Arg) introspect.Method {
		return introspect.Method{Name: name, Args: args}
	}
	signal := func(name string, args ...introspect.Arg) introspect.Signal {
		return introspect.Signal{Name: name, Args: args}
	}
	manager := &introspect.Node{Name: string(managerPath), Interfaces: []introspect.Interface{introspect.IntrospectData, {
		Name: managerFace, Methods: []introspect.Method{method("GetDevices", out("devices", "ao")), method("GetDefaultDevice", out("device", "o"))},
	}}}
	virtual := &introspect.Node{Name: string(devicePath), Interfaces: []introspect.Interface{introspect.IntrospectData, prop.IntrospectData, {
		Name: deviceFace,
		Methods: []introspect.Method{
			method("ListEnrolledFingers", in("username", "s"), out("enrolled_fingers", "as")),
			method("DeleteEnrolledFingers", in("username", "s")), method("DeleteEnrolledFingers2"), method("DeleteEnrolledFinger", in("finger_name", "s")),
			method("Claim", in("username", "s")), method("Release"),
			method("VerifyStart", in("finger_name", "s")), method("VerifyStop"),
			method("EnrollStart", in("finger_name", "s")), method("EnrollStop"),
		},
		Signals: []introspect.Signal{
			signal("VerifyFingerSelected", introspect.Arg{Name: "finger_name", Type: "s"}),
			signal("VerifyStatus", introspect.Arg{Name: "result", Type: "s"}, introspect.Arg{Name: "done", Type: "b"}),
			signal("EnrollStatus", introspect.Arg{Name: "result", Type: "s"}, introspect.Arg{Name: "done", Type: "b"}),
		},
		Properties: s.props.Introspection(deviceFace),
	}}}
	for path, node := range map[dbus.ObjectPath]*introspect.Node{managerPath: manager, devicePath: virtual} {
		if err := s.conn.Export(introspect.NewIntrospectable(node), path, "org.freedesktop.DBus.Introspectable"); err != nil {
			return err
		}
	}
	if err := s.conn.Export(onManager{s}, managerPath, managerFace); err != nil {
		return err
	}
	return s.conn.Export(onDevice{s}, devicePath, deviceFace)
}

// label is the device's name for people.
func label(reader string) string {
	if reader == "" {
		return "faceprint"
	}
	return "faceprint (" + reader + ")"
}

// refresh tells what the module is, which may have changed.
func (s *Server) refresh(name string, captures int) {
	s.set("name", label(name))
	s.set("num-enroll-stages", int32(captures))
}

// set changes a property, and tells so, where it differs.
func (s *Server) set(name string, v any) {
	if s.props.GetMust(deviceFace, name) != v {
		s.props.SetMust(deviceFace, name, v)
	}
}

// onManager answers calls to the manager.
type onManager struct{ s *Server }

// GetDevices lists the one device while its module is there.
func (m onManager) GetDevices() ([]dbus.ObjectPath, *dbus.Error) {
	name, captures, there := m.s.reader()
	if !there {
		return []dbus.ObjectPath{}, nil
	}
	m.s.refresh(name, captures)
	return []dbus.ObjectPath{devicePath}, nil
}

// GetDefaultDevice returns it.
func (m onManager) GetDefaultDevice() (dbus.ObjectPath, *dbus.Error) {
	all, _ := m.GetDevices()
	if len(all) == 0 {
		return "/", fail(errNoDevice, "No devices available")
	}
	return all[0], nil
}

// ownReply keeps the library from answering the calls that start an action:
// they answer by themselves, since the answer must be on the wire before the
// first signal of the action.
func ownReply(m *dbus.Message) {
	if member, _ := m.Headers[dbus.FieldMember].Value().(string); m.Type == dbus.TypeMethodCall && (member == "VerifyStart" || member == "EnrollStart") {
		m.Flags |= dbus.FlagNoReplyExpected
	}
}

// reply answers a call without a value.
func (s *Server) reply(call dbus.Message) {
	s.conn.Send(&dbus.Message{Type: dbus.TypeMethodReply, Flags: dbus.FlagNoReplyExpected, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldDestination: call.Headers[dbus.FieldSender],
		dbus.FieldReplySerial: dbus.MakeVariant(call.Serial()),
	}}, nil)
}

// signal tells one client and nobody else.
func (s *Server) signal(client, name string, body ...any) {
	s.conn.Send(&dbus.Message{Type: dbus.TypeSignal, Flags: dbus.FlagNoReplyExpected, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldDestination: dbus.MakeVariant(client),
		dbus.FieldPath:        dbus.MakeVariant(devicePath),
		dbus.FieldInterface:   dbus.MakeVariant(deviceFace),
		dbus.FieldMember:      dbus.MakeVariant(name),
		dbus.FieldSignature:   dbus.MakeVariant(dbus.SignatureOf(body...)),
	}, Body: body}, nil)
}
