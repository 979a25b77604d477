/** The methods that the metrics use of a `Registry` of `prom-client`. */
export interface MetricsRegistry {
  registerMetric(metric: any): void;
  getSingleMetric(name: string): any;
  removeSingleMetric(name: string): void;
}

export interface MetricsOptions {
  /** The registry of the metrics; `prom-client`'s global registry by default. */
  register?: MetricsRegistry;
  /**
   * The prefix of the names of all metrics.
   * @default "socketio_redis_streams_"
   */
  prefix?: string;
  /**
   * Labels of all metrics. If several servers share a registry, each needs its own values of the same
   * labels.
   */
  labels?: Record<string, string | number>;
}

export interface RegisteredMetrics {
  /** Removes the server's metrics from the registry. */
  unregister(): void;
}

/**
 * Registers the adapter's stats as metrics of `prom-client`. Each scrape reads them. Counters continue
 * when the adapter is closed and opened again.
 *
 * @param io a Socket.IO server with this adapter
 * @throws Error with `code` `ERR_SIO_REDIS_PROM_CLIENT` if `prom-client` is not installed;
 * TypeError with `ERR_SIO_REDIS_OPTION`
 */
export declare function registerMetrics(io: any, options?: MetricsOptions): RegisteredMetrics;
