package scheduler

import (
	"cmp"
	"maps"
	"time"
)

// options is what a Spec resolves to beside its alias and instance, and the
// manager that it does so for. Services
// that leave everything at its default share one, since thousands of them are
// common.
type options struct {
	manager                              *ServiceManager
	startDelay, startTimeout, startLimit time.Duration
	drainTimeout, stopTimeout            time.Duration
	rollBack                             bool
	restart                              RestartPolicy
	retryLimit                           int
	retryWindow                          time.Duration
	backoff                              Backoff
	goodRun                              time.Duration
	escalate, significant, recover       bool
	exitOnError, haltOnFailure           bool
	saveEvery, saveTimeout               time.Duration
	group                                *group     // nil: none
	timetable                            *timetable // nil: runs all the time
	overlap                              Overlap
	queueLimit                           int
	bounds                               Bounds
	meta                                 map[string]string
}

// resolve puts the defaults in the place of zeros. The group is set by the
// manager.
func (s *Spec) resolve(m *ServiceManager) (*options, error) {
	o := &options{
		manager:    m,
		startDelay: s.StartDelay, startTimeout: s.StartTimeout, stopTimeout: s.StopTimeout,
		startLimit:   cmp.Or(s.StartLimit, multiple(startLimitFactor, s.StartTimeout)),
		drainTimeout: s.DrainTimeout,
		rollBack:     s.RollBack,
		restart:      s.Restart, retryLimit: s.RetryLimit,
		retryWindow: cmp.Or(s.RetryWindow, DefaultRetryWindow),
		backoff:     s.Backoff, goodRun: cmp.Or(s.GoodRun, DefaultGoodRun),
		escalate: s.Escalate, significant: s.Significant, recover: s.Recover,
		exitOnError: s.ExitOnError, haltOnFailure: s.HaltOnFailure,
		saveEvery:   cmp.Or(s.SaveEvery, DefaultSaveEvery),
		saveTimeout: cmp.Or(s.SaveTimeout, DefaultSaveTimeout),
		bounds:      s.Bounds.resolve(), meta: maps.Clone(s.Meta),
	}
	if s.Schedule != nil {
		table, err := compile(s.Schedule)
		if err != nil {
			return nil, err
		}
		o.timetable, o.overlap, o.queueLimit = table, s.Schedule.Overlap, s.Schedule.queueLimit()
	}
	return o, nil
}

// plain reports whether the spec sets nothing that options holds.
func (s *Spec) plain() bool {
	return s.StartDelay == 0 && s.StartTimeout == 0 && s.StartLimit == 0 && !s.RollBack &&
		s.DrainTimeout == 0 && s.StopTimeout == 0 &&
		s.Restart == Permanent && s.RetryLimit == 0 && s.RetryWindow == 0 &&
		s.Backoff == nil && s.GoodRun == 0 && !s.Escalate && !s.Significant && !s.Recover &&
		!s.ExitOnError && !s.HaltOnFailure && s.Group == "" && s.Schedule == nil &&
		s.SaveEvery == 0 && s.SaveTimeout == 0 && s.Bounds.isZero() && len(s.Meta) == 0
}
