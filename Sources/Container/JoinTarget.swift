import CSpawn

/// Namespaces that a child joins: those of tether-init, or of the process where there is none.
final class JoinTarget {
    /// Kept for its pidfd.
    let child: Child
    /// CLONE_NEW*.
    let namespaces: UInt64
    /// The cgroup that the child is made in, or -1.
    let cgroup: Int32

    init(_ child: Child, namespaces: UInt64, cgroup: Int32) {
        self.child = child
        self.namespaces = namespaces
        self.cgroup = cgroup
    }

    func fill(_ plan: inout cspawn_plan) {
        plan.join_pidfd = child.pidfd
        plan.namespaces = namespaces
        plan.cgroup = cgroup
    }

    /// The container's root, in PID 1's view. Its number is the target's as long as that is there.
    var root: String { "/proc/\(child.pid)/root" }
}

extension cspawn_plan {
    /// One that joins nothing, makes nothing and executes nothing.
    static var empty: cspawn_plan {
        var plan = cspawn_plan()
        plan.join_pidfd = -1
        plan.cgroup = -1
        plan.streams.standard = (-1, -1, -1)
        return plan
    }
}
