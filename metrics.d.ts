/** What the metrics need of a `Registry` of `prom-client`. */
export interface MetricsRegistry {
  registerMetric(metric: any): void;
  getSingleMetric(name: string): any;
  removeSingleMetric(name: string): void;
}

export interface MetricsOptions {
  /** Where the metrics are registered; `prom-client`'s global registry by default. */
  register?: MetricsRegistry;
  /**
   * What the names of all metrics begin with.
   * @default "socketio_redis_streams_"
   */
  prefix?: string;
  /**
   * Labels of all metrics. Several servers in one registry need different values of the same
   * labels.
   */
  labels?: Record<string, string | number>;
}

export interface RegisteredMetrics {
  /** Takes the server's metrics out of the registry. */
  unregister(): void;
}

/**
 * Registers the adapter's stats as metrics of `prom-client`. They are read when somebody scrapes;
 * counters go on when the adapter is closed and opened again.
 *
 * @param io a Socket.IO server with this adapter
 * @throws Error with `code` `ERR_SIO_REDIS_PROM_CLIENT` when `prom-client` is not installed;
 * TypeError with `ERR_SIO_REDIS_OPTION`
 */
export declare function registerMetrics(io: any, options?: MetricsOptions): RegisteredMetrics;
