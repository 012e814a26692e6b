extension ContainerSpec {
    /// The file below /proc/sys of the parameter `name`, relative to it.
    ///
    /// `name` is written as sysctl(8) takes it: parts are separated by whatever comes first of "." and "/", and the other of the two
    /// stands for itself or, between dots, for a dot: "net.ipv4.conf.eth0/100.forwarding" and "net/ipv4/conf/eth0.100/forwarding" are
    /// the same file.
    public static func sysctlPath(_ name: String) -> String {
        guard name.utf8.first(where: { $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "/") }) == UInt8(ascii: ".") else { return name }
        let bytes = name.utf8.map { byte in
            byte == UInt8(ascii: ".") ? UInt8(ascii: "/") : byte == UInt8(ascii: "/") ? UInt8(ascii: ".") : byte
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// `linux.sysctl`, without a look at the namespaces.
    static func sysctl(_ reader: ObjectReader) -> [KeyValue] {
        // The bound keeps the search for duplicates short.
        guard reader.members.count <= 512 else {
            reader.issues.report(.invalid, reader.path, "expected at most 512 parameters, found \(reader.members.count)")
            return []
        }
        var settings: [KeyValue] = []
        var files: [String] = []
        for setting in reader.keyValues() {
            let file = sysctlPath(setting.key)
            if !isParameter(file) {
                reader.report(.invalid, setting.key, "expected the name of a kernel parameter such as \"net.core.somaxconn\"")
            } else if files.contains(file) {
                reader.report(.invalid, setting.key, "the parameter is set twice")
            } else if setting.value.isEmpty {
                reader.report(.invalid, setting.key, "expected a value, found an empty string")
            } else if setting.value.utf8.count >= 4096 {
                reader.report(.invalid, setting.key, "expected a value of at most 4095 bytes, found one of \(setting.value.utf8.count)")
            } else if setting.value.utf8.contains(where: { $0 < 0x20 && $0 != 0x09 }) {
                reader.report(.invalid, setting.key, "expected a value on one line, found \(quoted(setting.value))")
            } else {
                files.append(file)
                settings.append(setting)
            }
        }
        return settings
    }

    /// Whether `path` names a file below a directory, by at least two parts, none of which leads elsewhere.
    private static func isParameter(_ path: String) -> Bool {
        guard path.utf8.count <= 255, path.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else { return false }
        let parts = path.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        return parts.count >= 2 && parts.allSatisfy { !$0.isEmpty && !$0.elementsEqual(".".utf8) && !$0.elementsEqual("..".utf8) }
    }
}

extension ContainerNamespaces {
    /// The parameters below kernel/ that each IPC namespace has of its own (ipc/ipc_sysctl.c).
    private static let ofIPC = [
        "auto_msgmni", "msg_next_id", "msgmax", "msgmnb", "msgmni", "sem", "sem_next_id", "shm_next_id", "shm_rmid_forced", "shmall",
        "shmmax", "shmmni",
    ]

    /// Why the parameter `name` cannot be set in a container with these namespaces; nil if it can.
    func problem(sysctl name: String) -> (kind: SpecIssue.Kind, text: String)? {
        let path = ContainerSpec.sysctlPath(name)
        let parts = path.utf8.split(separator: UInt8(ascii: "/"), maxSplits: 1)
        guard let directory = parts.first, let file = parts.last else { return nil }
        func lacks(_ namespace: String) -> (kind: SpecIssue.Kind, text: String) {
            (.invalid, "a parameter of the \(namespace) namespace, which linux.namespaces has not")
        }
        // The VM's network is the container's alone.
        if directory.elementsEqual("net".utf8) { return nil }
        let isOfIPC = directory.elementsEqual("kernel".utf8) && Self.ofIPC.contains { $0.utf8.elementsEqual(file) }
        if isOfIPC || path.hasPrefix("fs/mqueue/") { return ipc ? nil : lacks("ipc") }
        if path == "kernel/hostname" || path == "kernel/domainname" { return uts ? nil : lacks("uts") }
        if directory.elementsEqual("user".utf8) { return user ? nil : lacks("user") }
        return (.unsupported, "not honoured: a parameter of the whole VM, PID 1 included, and of no namespace of the container's")
    }
}
