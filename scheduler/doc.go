// Package scheduler is an in-process supervisor: it schedules services, not
// polls. It starts the services of a program in the order of their
// dependencies, knows when they are ready, starts them again when they fail,
// and stops them so that work in flight can be finished and nothing is waited
// for in vain. It knows nothing of HTTP, resources or polling, and needs none of
// the packages beside it.
//
// The parts, from the outside in: a program (the OS) serves a [Scheduler]; its
// [ServiceManager] leads each service through its life (see [State]); its
// [Directory] finds services by alias; a [Service] is anything with a method
// Serve, described by a [Spec]. A Scheduler is a Service itself.
//
// What a service is given in its context: [Ready] says that it is ready and
// [Extend] that it takes longer, [Work] is a context for work in flight,
// [MeterOf] measures what it does, [Logger] logs under its lineage, [Find] finds
// others ([FindType] by type), [ManagerOf] steers others, [DirectoryOf] lists
// them and tells what happens to them ([Directory.Watch]).
//
// What a service may have beside Serve: Drain, to complete its work before it is
// stopped ([Drainer]); SaveState and RestoreState, to outlive its instance
// ([StateSaver], [StateRestorer]).
//
// What a Spec or Config may ask for: an order of start and stop (After), pools,
// runs at instants ([Schedule]), groups that are restarted together ([Group]),
// limits and escalation, what the cop watches for ([Bounds]), handlers of
// failures ([Handler]).
//
// # Guarantees
//
//   - Every run sends one exit message, whatever ends it: a return, an error, a
//     panic, runtime.Goexit. None is missed, none is counted twice.
//   - Every run has a generation number. What comes late from an older one, a
//     timer or a verdict, is dropped; a stop during backoff never resurrects.
//     Two generations of a worker never run at once, except where that is asked
//     for: by Replace, and for services with a Factory by Recover.
//   - A run that is deaf to its stop is abandoned at its own stop timeout,
//     counted, named by path, and, save as above, not replaced until it has
//     ended. It delays nobody else, and its Work context ends, which fences
//     what it holds. Stopping takes as long as the longest chain of stop
//     timeouts along the dependencies, not their sum.
//   - Dependants stop before what they come After; starts follow the graph, in
//     parallel where it allows. A start timeout ends at Ready and names what
//     blocked.
//   - Failures count per service, and per worker of a pool: one that flaps
//     delays no sibling. No wait is ever made under the manager's lock.
//   - Handlers, Backoff functions, Factories, Drain, SaveState, RestoreState,
//     methods of errors and the log are called under no lock and in nobody
//     else's goroutine. One that panics, exits or blocks harms nobody else.
//   - The cop judges a service by what it does, not by what it says: by its
//     latencies and failures, in windows in a row, and by progress while it
//     works. It is armed once the service is ready, and silent while that is
//     stopped on purpose. A service whose operations all fail is found though
//     it never ends; so is a manager that hangs.
//   - A Spec that contradicts itself is refused at once, with the reason.
//   - What is kept is bounded: exceptions and their stacks, failures that wait
//     for handlers, lines that wait for the log. What is dropped is counted.
//   - Serve leaves no goroutine behind except those it names in an
//     [*UnstoppedError].
//
// # Not guaranteed
//
//   - A goroutine can't be killed. An abandoned run holds its memory until it
//     ends, and may still act on what the end of its contexts doesn't fence.
//   - A panic in a goroutine that a service started by itself, a fatal error of
//     the runtime, and os.Exit end the process.
//   - The crash of a service does not stop those that come After it; they are
//     only not started again while it is down. HaltOnFailure does stop them, and
//     a Group may restart them.
//   - Started is not healthy: a service is started once it said so, or, without
//     a start timeout, once Serve was entered.
//   - Lines of the log and calls of handlers may be dropped when the user's side
//     is too slow; the counters and exceptions in [Status] are exact.
package scheduler
