// The platforms' packages, which are not installed in a checkout, for `tsc`.

declare module "socket.io-redis-streams-native-*" {
  const binding: typeof import("./native-binding");
  export = binding;
}
