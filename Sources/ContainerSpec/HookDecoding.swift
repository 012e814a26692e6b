extension ContainerHooks {
    init(_ reader: ObjectReader) {
        self.init()
        prestart = ContainerHook.list(reader, "prestart")
        createRuntime = ContainerHook.list(reader, "createRuntime")
        createContainer = ContainerHook.list(reader, "createContainer")
        startContainer = ContainerHook.list(reader, "startContainer")
        poststart = ContainerHook.list(reader, "poststart")
        poststop = ContainerHook.list(reader, "poststop")
        reader.warnOfUnknown(["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"])
    }
}

extension ContainerHook {
    fileprivate static func list(_ hooks: ObjectReader, _ name: String) -> [ContainerHook] {
        var list: [ContainerHook] = []
        // Each may take its whole timeout, one after the other.
        for reader in hooks.objects(name, limit: 64) ?? [] {
            reader.warnOfUnknown(["path", "args", "env", "timeout"])
            reader.require("path", "the absolute path of the program")
            var hook = ContainerHook(path: reader.absolutePath("path") ?? "/")
            if let args = reader.strings("args"), !args.isEmpty { hook.args = args }
            hook.env = reader.environment("env") ?? []
            hook.timeoutSeconds = reader.integer("timeout", 1...3600) ?? ContainerHook.defaultTimeoutSeconds
            list.append(hook)
        }
        return list
    }
}
