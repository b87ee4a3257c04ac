import { type ConfiguredModels, configuredModels, type ModelParts, type ModelsConfig } from './configured-models.ts'
import type { ModelRouter } from './model-router.ts'

/** The models of the configuration in force, among whatever else a router has. */
export class LiveModels {
  readonly #router: ModelRouter
  readonly #parts: ModelParts
  /** Replaced ones whose requests are not over yet. */
  readonly #retired = new Set<ConfiguredModels>()
  #models: ConfiguredModels

  /** @throws Error saying what is wrong with the models */
  constructor(router: ModelRouter, config: ModelsConfig, parts: ModelParts) {
    this.#router = router
    this.#parts = parts
    this.#models = configuredModels(config, parts)
    router.replacing([], this.#models.entries)()
    parts.targetSwitch?.know(this.#models.targets)
  }

  /**
   * Makes the models of another configuration, and changes nothing yet. Once that is done, the connections of those before are closed
   * when `settled` resolves, which is called then: requests under way are still to be served by them.
   *
   * @param contextWindow Of the models of that configuration. Default: as before.
   * @throws Error saying what is wrong with the models
   */
  prepare(config: ModelsConfig, settled: () => Promise<void>, contextWindow = this.#parts.contextWindow) {
    const next = configuredModels(config, { ...this.#parts, contextWindow, before: this.#models })
    const discard = (): void => void next.close()
    try {
      const swap = this.#router.replacing(this.#models.entries, next.entries)
      const commit = (): void => {
        const before = this.#models
        before.retire()
        swap()
        this.#models = next
        this.#parts.targetSwitch?.know(next.targets)
        this.#retired.add(before)
        void settled().then(() => this.#close(before))
      }
      return { commit, discard }
    } catch (error) {
      discard()
      throw error
    }
  }

  /** Lets running calls finish, then closes the connections to the providers: those that are served, and those before them. */
  async close(): Promise<void> {
    await Promise.all([this.#models.close(), ...[...this.#retired].map((models) => this.#close(models))])
  }

  async #close(models: ConfiguredModels): Promise<void> {
    await models.close()
    this.#retired.delete(models)
  }
}
