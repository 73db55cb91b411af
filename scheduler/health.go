package scheduler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// healthPatience is how long Health waits for the manager's lock, which
	// leaves some of the timeout that a probe usually has.
	healthPatience = 500 * time.Millisecond
	// errorPatience bounds the time for all texts of errors together.
	errorPatience = 100 * time.Millisecond
	// maxErrorText bounds one text of an error, in bytes.
	maxErrorText = 256
	// namedReasons bounds the services that the reason of the whole names.
	namedReasons = 3
)

var errTexts = errors.New("scheduler: texts of errors take too long")

// Health is whether a scheduler and all below it work, as the probes of an
// orchestrator ask it. It reads well as JSON. The caller owns it.
//
// A liveness probe shall fail if Live is false, and a readiness probe if Ready
// is.
type Health struct {
	Path string `json:"path"` // lineage of the scheduler
	// Live is false if only a new process can help: if the manager does not
	// work, or a service is a [Zombie] that nobody is about to end, here or in
	// a scheduler inside. A service that is dead, backs off or is degraded is
	// none: others work, and whoever wants the process to end for it says so
	// in its Spec (Escalate, Significant, ExitOnError).
	Live bool `json:"live"`
	// Ready is whether Serve runs and is not about to end, and each service is
	// Ready.
	Ready bool `json:"ready"`
	// Reason says in words what is wrong, the manager first, and names the
	// first few services. Empty: nothing is.
	Reason string `json:"reason,omitzero"`
	// Services are those of the scheduler in the order of their addition, each
	// followed by those inside of it. Empty if the manager does not answer.
	Services []ServiceHealth `json:"services"`
}

// ServiceHealth is the part of one service in a [Health].
type ServiceHealth struct {
	Path      string    `json:"path"` // lineage
	State     State     `json:"state"`
	Condition Condition `json:"condition"`
	Live      bool      `json:"live"` // restarting the process would not help it
	// Ready is whether nothing is waited for: it is started and no Zombie, or
	// it has completed, waits for its tick, or is not wanted, since Stop was
	// called.
	Ready bool `json:"ready"`
	// Reason says in words why it is not started and what speaks against it,
	// with the text of the error behind, up to a length. Empty: nothing.
	Reason string `json:"reason,omitzero"`
}

// Health returns the health of the scheduler and of all below it. It answers
// within a second, also when the manager hangs: it then says that, and nothing
// of the services. It may be called at any time; before Serve and after, nothing
// is ready.
//
// Methods of errors, whose texts it shows, are called in a goroutine of its
// own. If one hangs the texts are left out, and it is named as unstopped.
func (m *ServiceManager) Health() Health {
	h := m.examine()
	reasons := h.ills
	unwell := 0
	for i := range h.Services {
		s := &h.Services[i]
		if s.Live && s.Ready && s.Condition == Healthy {
			continue
		}
		if unwell++; unwell <= namedReasons {
			reasons = append(reasons, s.Path+": "+cmp.Or(s.Reason, s.State.String()))
		}
	}
	if unwell > namedReasons {
		reasons = append(reasons, fmt.Sprintf("and %d more", unwell-namedReasons))
	}
	h.Reason = strings.Join(reasons, "; ")
	return h.Health
}

// Health returns the health of the scheduler and of all below it; see
// [ServiceManager.Health].
func (s *Scheduler) Health() Health { return s.manager.Health() }

// examination is a Health with what is wrong with the managers.
type examination struct {
	Health
	ills []string
}

// patient is a service with what takes time to say of it.
type patient struct {
	ServiceHealth
	entry  *entry
	err    error             // behind Reason
	inside []*ServiceManager // served in its runs now
}

// examine looks at the manager, and at those inside one after the other; under
// no lock, so that one that hangs holds up no other.
func (m *ServiceManager) examine() examination {
	begin := m.now()
	var held time.Duration
	if !m.tryLock(nil, func(h time.Duration) bool {
		held = h
		return h > lockBound || m.now()-begin > healthPatience
	}) {
		return m.hangs(held)
	}
	h, patients := m.look()
	m.explain(patients)
	for i := range patients {
		p := &patients[i]
		p.Path = h.Path + "/" + p.entry.alias
		h.Live = h.Live && p.Live
		h.Ready = h.Ready && p.Ready
		h.Services = append(h.Services, p.ServiceHealth)
		for _, inner := range p.inside {
			i := inner.examine()
			h.Live = h.Live && i.Live
			h.Ready = h.Ready && i.Ready
			for _, ill := range i.ills {
				h.ills = append(h.ills, i.Path+": "+ill)
			}
			h.Services = append(h.Services, i.Services...)
		}
	}
	return h
}

// hangs is the answer of a manager whose lock can't be had.
func (m *ServiceManager) hangs(held time.Duration) examination {
	path := m.name
	if p := m.lockWatch.path.Load(); p != nil {
		path = *p
	}
	return examination{
		Health: Health{Path: path, Live: held <= lockBound, Services: []ServiceHealth{}},
		ills:   []string{fmt.Sprintf("the manager does not answer: its lock was not given up for %v", rounded(held))},
	}
}

// look makes the snapshot. It is called with the lock, which it gives up, and
// puts off what need not be done under it.
func (m *ServiceManager) look() (examination, []patient) {
	defer m.unlock()
	now := m.now()
	h := examination{Health: Health{Path: m.root, Ready: m.serving()}}
	h.ills, h.Live = m.ailments(now)
	switch {
	case m.session == nil:
		h.ills = append(h.ills, "does not serve")
	case m.closing:
		h.ills = append(h.ills, "is stopping")
	}
	all := make([]patient, 0, len(m.directory.entries))
	for _, e := range m.directory.entries {
		p := patient{entry: e}
		concern := ""
		p.State = e.state()
		p.Condition, concern = e.condition(now)
		p.Live = p.Condition != Zombie || !e.hopeless()
		p.Ready = !e.want || e.met() && p.Condition != Zombie
		if e.want {
			p.Reason, p.err = e.reason(now), e.culprit()
		}
		if concern != "" && concern != p.Reason {
			p.Reason = strings.TrimPrefix(p.Reason+"; "+concern, "; ")
		}
		for w := range e.workers() {
			if w.run != nil && w.run.inner != nil && w.state.live() {
				p.inside = append(p.inside, w.run.inner)
			}
		}
		all = append(all, p)
	}
	h.Services = make([]ServiceHealth, 0, len(all))
	return h, all
}

// explain puts the patients in order, and adds the texts of errors to their
// reasons; under no lock.
func (m *ServiceManager) explain(all []patient) {
	slices.SortFunc(all, func(a, b patient) int { return cmp.Compare(a.entry.serial, b.entry.serial) })
	var errs []error
	var whose []*patient
	for i := range all {
		if all[i].err != nil {
			errs = append(errs, all[i].err)
			whose = append(whose, &all[i])
		}
	}
	for i, text := range m.textsOf(errs) {
		whose[i].Reason += ": " + text
	}
}

// errorText is the text of an error of a list.
type errorText struct {
	of   int
	text string
}

// textsOf asks errors for their texts. Error is foreign code: when one panics
// or calls Goexit the answer is that, and when one hangs, those after it are
// not asked.
func (m *ServiceManager) textsOf(errs []error) map[int]string {
	if len(errs) == 0 {
		return nil
	}
	// Whoever asks may be left behind, and shares nothing else.
	answers := make(chan errorText, len(errs))
	for begin := m.now(); m.askTexts(errs, answers) && m.now()-begin < errorPatience; {
	}
	texts := make(map[int]string, len(errs))
	for range len(answers) {
		a := <-answers
		texts[a.of] = a.text
	}
	return texts
}

// askTexts asks those that have not answered, and reports whether it is to be done
// again, since one has ended the goroutine.
func (m *ServiceManager) askTexts(errs []error, answers chan<- errorText) (again bool) {
	from := len(answers)
	f := func(ctx context.Context) error {
		for i := from; i < len(errs) && ctx.Err() == nil; i++ {
			answer := errorText{of: i}
			call(func() error {
				answer.text = shortened(errs[i].Error())
				return nil
			}, func(out outcome) {
				if out.err != nil {
					answer.text = "its text can't be had: " + out.kind.String()
				}
				answers <- answer
			})
		}
		return nil
	}
	out := outcome{err: ErrHandlerBusy}
	for i := 0; i < len(m.askers) && errors.Is(out.err, ErrHandlerBusy); i++ {
		out = m.bounded(context.Background(), &m.askers[i], bound{
			path: m.lineage() + " text of an error", timeout: errorPatience, cause: errTexts,
		}, f)
	}
	return errors.Is(out.err, ErrGoexit) && len(answers) < len(errs)
}

// shortened bounds a text, at the end of a character.
func shortened(text string) string {
	if len(text) <= maxErrorText {
		return text
	}
	end := maxErrorText
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}
