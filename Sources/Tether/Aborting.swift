import Container
import ContainerSpec
import Linux

/// Why a start that was begun comes to nothing.
struct Aborting {
    enum Why {
        /// It begins anew, with the configuration as it is now.
        case renewal
        case failure(Failure)
    }

    var why: Why?
}

extension Lifecycle {
    /// The container is being ended to be created anew.
    var isRenewed: Bool { if case .renewal? = aborting.why { true } else { false } }

    /// A stop ends a start that is under way, or the wait for one.
    func abandonStart() {
        let cause = "stopped before it started"
        stopHolding()
        switch stage {
        case .preparing, .clearing:
            abandonPreparation()
            fail(Failure("start", spec.tether.id, cause))
        case .held: cancelLaunch(Failure("start", spec.tether.id, "stopped while it waited for a client to attach"))
        case .launching: cancelLaunch(Failure("start", spec.tether.id, cause))
        case .resting: if let lastRecord { over(.ended(lastRecord)) }
        case .ending:
            if !isRenewed { return }
            aborting.why = .failure(Failure("start", spec.tether.id, cause))
            runtime.execs.containerEnded()
        case .running, .over: break
        }
    }

    /// Ends a start that is under way; `failure` is what is told of it when nothing is left of it.
    func cancelLaunch(_ failure: Failure) {
        guard launch != nil else { return fail(failure) }
        abort(.failure(failure), failure.cause)
    }

    /// Begins anew with a start that is held.
    func renew() {
        if launch == nil { begin() } else { abort(.renewal, "the configuration is another") }
    }

    private func abort(_ why: Aborting.Why, _ cause: String) {
        // What has failed is not begun anew, and what was to begin anew can be stopped.
        if case .failure? = aborting.why {} else { aborting.why = why }
        stage = .launching
        launch?.cancel(cause)
        stepLaunch()
    }
}
