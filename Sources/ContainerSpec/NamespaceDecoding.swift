extension ContainerNamespaces {
    init(_ entries: [ObjectReader], _ path: String, _ issues: IssueList) {
        self.init()
        var seen: [String] = []
        for entry in entries {
            guard let type = entry.string("type") else {
                if entry.value("type") == nil { entry.report(.missing, "type", "required: the kind of namespace") }
                continue
            }
            switch type {
            case "mount", "pid", "ipc", "uts", "cgroup", "user", "time":
                if seen.contains(type) { entry.report(.invalid, "type", "the \(type) namespace is listed twice") }
                seen.append(type)
            case "network":
                entry.report(
                    .unsupported, "type", "a network namespace is not honoured yet: the container uses the VM's network; remove the entry")
            default:
                entry.report(.invalid, "type", "expected mount, pid, ipc, uts, cgroup, user or time, found \(quoted(type))")
            }
            entry.refuse(["path"], "joining a namespace is not honoured: the VM has no other container")
            entry.warnOfUnknown(["type", "path"])
        }
        pid = seen.contains("pid")
        ipc = seen.contains("ipc")
        uts = seen.contains("uts")
        cgroup = seen.contains("cgroup")
        user = seen.contains("user")
        time = seen.contains("time")
        if !seen.contains("mount") {
            issues.report(.invalid, path, "must list the mount namespace: the container's root and mounts live in it")
        }
    }
}

extension IDMapping {
    /// As many extents as a mapping has in the kernel (UID_GID_MAP_MAX_EXTENTS).
    private static let limit = 340

    /// The array `name` of `reader`; of entries that overlap the kernel would say no more than EINVAL.
    static func list(_ reader: ObjectReader, _ name: String) -> [IDMapping] {
        var mappings: [IDMapping] = []
        for entry in reader.objects(name, limit: limit) ?? [] {
            entry.warnOfUnknown(["containerID", "hostID", "size"])
            entry.require("containerID", "the first ID in the container")
            entry.require("hostID", "the first ID outside")
            entry.require("size", "how many IDs are mapped")
            let container = entry.integer32("containerID", 0...4_294_967_294)
            let host = entry.integer32("hostID", 0...4_294_967_294)
            let size = entry.integer32("size", 1...4_294_967_295)
            guard let container, let host, let size else { continue }
            let mapping = IDMapping(containerID: container, hostID: host, size: size)
            if UInt64(container) + UInt64(size) > 4_294_967_295 || UInt64(host) + UInt64(size) > 4_294_967_295 {
                entry.report(.invalid, "size", "\(size) IDs reach past 4294967294")
            } else if mappings.contains(where: { overlap($0.containerID, $0.size, container, size) }) {
                entry.report(.invalid, "containerID", "the container's IDs overlap with those of an earlier entry")
            } else if mappings.contains(where: { overlap($0.hostID, $0.size, host, size) }) {
                entry.report(.invalid, "hostID", "the IDs outside overlap with those of an earlier entry")
            } else {
                mappings.append(mapping)
            }
        }
        return mappings
    }

    private static func overlap(_ first: UInt32, _ firstSize: UInt32, _ second: UInt32, _ secondSize: UInt32) -> Bool {
        UInt64(first) < UInt64(second) + UInt64(secondSize) && UInt64(second) < UInt64(first) + UInt64(firstSize)
    }
}

extension TimeOffsets {
    init(_ reader: ObjectReader) {
        self.init()
        for member in reader.members where member.name != "monotonic" && member.name != "boottime" {
            if !member.value.asksForNothing {
                reader.report(.unsupported, member.name, "not honoured: the kernel has offsets for monotonic and boottime alone")
            }
        }
        monotonic = reader.object("monotonic").flatMap { TimeOffset.read($0) }
        boottime = reader.object("boottime").flatMap { TimeOffset.read($0) }
    }
}

extension TimeOffset {
    /// nil for no offset, which needs no namespace either.
    fileprivate static func read(_ reader: ObjectReader) -> TimeOffset? {
        // Half of what a clock can hold (KTIME_SEC_MAX / 2): past it the kernel refuses every sum.
        let seconds = reader.integer("secs", -4_611_686_018...4_611_686_018) ?? 0
        let nanoseconds = reader.integer32("nanosecs", 0...999_999_999) ?? 0
        reader.warnOfUnknown(["secs", "nanosecs"])
        return seconds == 0 && nanoseconds == 0 ? nil : TimeOffset(seconds: seconds, nanoseconds: nanoseconds)
    }
}

extension ContainerSpec {
    /// Checks what the namespaces need, and what needs them. `document` is the whole configuration.
    func checkNamespaces(_ document: ObjectReader) {
        let path = document.path("linux")
        func report(_ kind: SpecIssue.Kind, _ name: String, _ problem: String) {
            document.issues.report(kind, memberPath(path, name), problem)
        }
        if namespaces.user {
            checkMappings(document)
        } else {
            if !uidMappings.isEmpty { report(.invalid, "uidMappings", "must be left out: linux.namespaces has no user namespace") }
            if !gidMappings.isEmpty { report(.invalid, "gidMappings", "must be left out: linux.namespaces has no user namespace") }
            for (index, mount) in mounts.enumerated() where mount.uidMappings.isEmpty && mount.isIDMapped {
                let problem = "idmap needs uidMappings and gidMappings of the mount, or a user namespace"
                document.issues.report(.invalid, "\(document.path("mounts"))[\(index)].options", problem)
            }
        }
        if timeOffsets != TimeOffsets(), !namespaces.time {
            report(.invalid, "timeOffsets", "must be left out: linux.namespaces has no time namespace")
        }
        for setting in sysctl {
            if let problem = namespaces.problem(sysctl: setting.key) {
                document.issues.report(problem.kind, memberPath(memberPath(path, "sysctl"), setting.key), problem.text)
            } else if hostname != nil, ContainerSpec.sysctlPath(setting.key) == "kernel/hostname" {
                document.issues.report(.invalid, memberPath(memberPath(path, "sysctl"), setting.key), "must be left out beside hostname")
            } else if domainname != nil, ContainerSpec.sysctlPath(setting.key) == "kernel/domainname" {
                document.issues.report(.invalid, memberPath(memberPath(path, "sysctl"), setting.key), "must be left out beside domainname")
            }
        }
    }

    /// Checks that a user namespace maps whoever the container needs.
    private func checkMappings(_ document: ObjectReader) {
        check(uidMappings, "uidMappings", document)
        check(gidMappings, "gidMappings", document)
        checkMappings(of: process.user, "process.user", document.issues)
    }

    /// Checks that the user namespace, if there is one, maps the IDs of a process's `user`, which was read at `path`.
    func checkMappings(of user: ContainerUser, _ path: String, _ issues: IssueList) {
        guard namespaces.user, !uidMappings.isEmpty, !gidMappings.isEmpty else { return }
        if !uidMappings.maps(user.uid) { issues.report(.invalid, path + ".uid", "\(user.uid) is not mapped by linux.uidMappings") }
        if !gidMappings.maps(user.gid) { issues.report(.invalid, path + ".gid", "\(user.gid) is not mapped by linux.gidMappings") }
        for group in user.additionalGids where !gidMappings.maps(group) {
            issues.report(.invalid, path + ".additionalGids", "\(group) is not mapped by linux.gidMappings")
        }
    }

    private func check(_ mappings: [IDMapping], _ name: String, _ document: ObjectReader) {
        let path = memberPath(document.path("linux"), name)
        if mappings.isEmpty {
            // Entries that were there and wrong have been reported.
            if document.object("linux")?.value(name)?.asksForNothing ?? true {
                document.issues.report(.missing, path, "required: linux.namespaces has a user namespace")
            }
        } else if !mappings.maps(0) {
            document.issues.report(.invalid, path, "must map the container's ID 0, as which the container is set up")
        }
    }
}

extension [IDMapping] {
    /// Whether the container's ID `id` is mapped.
    fileprivate func maps(_ id: UInt32) -> Bool {
        contains { $0.containerID <= id && UInt64(id) < UInt64($0.containerID) + UInt64($0.size) }
    }
}
