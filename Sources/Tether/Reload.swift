import Cgroups
import ContainerSpec
import Linux
import Sessions

/// Reading the configuration anew while the container runs (docs/configuration.md, "Reading it anew").
extension Runtime {
    /// - Returns: why nothing was changed; nil when it was.
    func reload() -> Failure? {
        do throws(Failure) {
            let old = spec
            let new = try kept(of: old, in: try readSpec())
            do throws(CgroupError) {
                let plan = try ResourcePlan(new.resources, ceilings: groups.ceilings)
                try groups.change(to: plan)
                for note in plan.notes { diagnostics.warning(note) }
            } catch {
                throw Failure(error)
            }
            spec = new
            // Nothing from here on can fail.
            log.partialDelay = new.tether.log.partialFlushMilliseconds &* 1_000_000
            if new.tether.debug != old.tether.debug { diagnostics.level = new.tether.debug ? .debug : .info }
            lifecycle.session.limits = sessionLimits
            for exec in execs.all { exec.session.limits = sessionLimits }
            lifecycle.configurationChanged()
            if new.tether.healthCheck != old.tether.healthCheck && lifecycle.isRunning { health.containerStarted() }
            diagnostics.info("configuration read anew")
            vic?.take()
            return nil
        } catch {
            diagnostics.error("configuration not read anew: \(error.description)")
            return error
        }
    }

    /// `new` with what cannot change while the VM runs as it was; that something stays is said.
    private func kept(of old: ContainerSpec, in new: ContainerSpec) throws(Failure) -> ContainerSpec {
        var new = new
        if new.tether.id != old.tether.id { throw Failure("reload", Boot.configurationKey, "the id of a container cannot change") }
        func keep(_ differs: Bool, _ property: String) {
            if differs { diagnostics.warning("\(property): what is new holds from the VM's next boot on") }
        }
        keep(new.tether.rootfs != old.tether.rootfs, "tether.rootfs")
        keep(new.tether.control != old.tether.control, "tether.control")
        // A container that has been started waits no more, whatever is said.
        if let waits = old.tether.attach?.waits { new.tether.attach?.waits = waits }
        keep(new.tether.attach != old.tether.attach, "tether.attach")
        keep(new.tether.network != old.tether.network, "tether.network")
        keep(new.tether.log.format != old.tether.log.format, "tether.log.format")
        keep(new.tether.memoryReserveKiB != old.tether.memoryReserveKiB, "tether.memoryReserveKiB")
        keep(new.tether.sessions.ringKiB != old.tether.sessions.ringKiB, "tether.sessions.ringKiB")
        // The kernel takes further programs, but only to forbid more.
        keep(new.resources.devices != old.resources.devices, "linux.resources.devices")
        new.tether.rootfs = old.tether.rootfs
        new.tether.control = old.tether.control
        new.tether.attach = old.tether.attach
        new.tether.network = old.tether.network
        new.tether.log.format = old.tether.log.format
        new.tether.memoryReserveKiB = old.tether.memoryReserveKiB
        new.tether.sessions.ringKiB = old.tether.sessions.ringKiB
        new.resources.devices = old.resources.devices
        return new
    }
}
