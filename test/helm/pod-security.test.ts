import t from 'tap'
import { cases } from './cases.ts'
import { containersOf, podsIn } from './pods.ts'
import { rendered } from './rendered.ts'

/** Of the standard `restricted` (and images, since Kubernetes 1.33). */
const volumes = [
  'configMap',
  'csi',
  'downwardAPI',
  'emptyDir',
  'ephemeral',
  'image',
  'persistentVolumeClaim',
  'projected',
  'secret',
]

for (const [name, options] of cases) {
  for (const pod of podsIn(rendered(options))) {
    t.test(`${name}: ${pod.kind} ${pod.name}`, async (t) => {
      const { spec } = pod
      const context = spec.securityContext ?? {}

      t.test('meets the Pod Security Standard "restricted"', async (t) => {
        t.notOk(spec.hostNetwork || spec.hostPID || spec.hostIPC, 'nothing of the host')
        for (const { name: _name, ...volume } of spec.volumes ?? []) {
          for (const type of Object.keys(volume)) t.ok(volumes.includes(type), `a volume is of ${type}`)
        }
        t.strictSame(context.sysctls ?? [], [])
        t.notOk(context.seLinuxOptions || context.windowsOptions || context.appArmorProfile)
        t.strictSame(
          (context.supplementalGroups ?? []).filter((group) => group === 0),
          [],
        )
        for (const container of containersOf(pod)) {
          const { securityContext: own = {}, ports = [] } = container
          t.equal(own.allowPrivilegeEscalation, false, container.name)
          t.notOk(own.privileged)
          t.strictSame(own.capabilities, { drop: ['ALL'] })
          t.equal(own.runAsNonRoot ?? context.runAsNonRoot, true)
          t.ok(Number(own.runAsUser ?? context.runAsUser) > 0)
          t.equal((own.seccompProfile ?? context.seccompProfile)?.type, 'RuntimeDefault')
          t.notOk(own.procMount || own.seLinuxOptions || own.windowsOptions || own.appArmorProfile)
          t.strictSame(
            ports.filter(({ hostPort }) => hostPort),
            [],
          )
        }
      })

      t.test('cannot write but to volumes, has no token, and is limited', async (t) => {
        t.equal(spec.automountServiceAccountToken, false)
        t.equal(spec.enableServiceLinks, false)
        for (const { name, securityContext, resources } of containersOf(pod)) {
          t.equal(securityContext?.readOnlyRootFilesystem, true, name)
          t.match(resources, { requests: { cpu: /./, memory: /./ }, limits: { memory: /./ } }, name)
          t.notOk(resources?.limits?.cpu, 'a limit of CPU only slows down')
        }
      })

      t.test('has secrets by reference only', async (t) => {
        for (const { name, env = [] } of containersOf(pod)) {
          for (const { name: variable, value } of env) {
            if (value !== undefined)
              t.notMatch(variable, /(?<!^NEEDS)_(KEY|PASSWORD|TOKEN|SECRET)$/, `${name}: ${variable}`)
          }
        }
      })
    })
  }
}
